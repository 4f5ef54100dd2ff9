/** The page of `vaetools serve`. */

import { startForm } from "./form.js";
import { addJob, startResults } from "./results.js";
import { startUploads } from "./uploads.js";

startForm((job) => addJob(job).title.focus());
await startUploads();
await startResults();
