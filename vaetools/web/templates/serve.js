/** The page of `vaetools serve`. */

import { startForm } from "./form.js";
import { addJob, startResults } from "./results.js";
import { startUploads } from "./uploads.js";

startForm((job) => addJob(job).title.focus());
try {
  await startUploads();
  await startResults();
  document.getElementById("run").disabled = false; // a run that is started before would be listed twice
} catch (error) {
  document.getElementById("form-problem").textContent = error.message;
}
