/** The runs and their results. */

import { get, post, remove } from "./api.js";

const $ = (id) => document.getElementById(id);
const results = $("results");
const jobs = []; // { job, box, … } in the order in which they run

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const size = (bytes) => (bytes < 1e3 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1e3).toPrecision(3)} kB` : `${(bytes / 1e6).toPrecision(3)} MB`);
const encoded = (name) => name.split("/").map(encodeURIComponent).join("/");

// Previews are made when their row is seen.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries)
    if (entry.isIntersecting) {
      seen.unobserve(entry.target);
      void fill(entry.target);
    }
}, { rootMargin: "200px" });

async function fill(row) {
  const box = row.querySelector(".shots");
  try {
    const { shots } = await get(row.dataset.shots);
    box.replaceChildren(...shots.map(shotOf));
  } catch {
    box.remove(); // the links are there
  }
}

function shotOf(shot) {
  const image = make("img", { src: shot.thumbnail, alt: `${shot.role} of ${shot.name}`, loading: "lazy", decoding: "async" });
  const link = make("a", { className: "shot", href: shot.file }, image);
  Object.assign(link.dataset, { role: shot.role, w: shot.width, h: shot.height });
  if (shot.view) link.dataset.view = shot.view;
  if (shot.direct) link.dataset.direct = "";
  if (shot.peak) link.dataset.peak = shot.peak;
  return link;
}

function rowOf(job, number, record) {
  const about = make("div", { className: "about" }, make("strong", { className: "in", textContent: record.file }));
  const message = record.message.startsWith(`${record.file}: `) ? record.message.slice(record.file.length + 2) : record.message;
  const failed = record.status === "failed";
  if (failed || message) about.append(make(failed ? "p" : "small", { className: failed ? "bad" : "", textContent: failed ? `${record.code} ${message}` : message }));
  if (record.status === "done") {
    const before = record.bytes_in ? `${size(record.bytes_in)} → ` : "";
    about.append(make("small", { textContent: `${before}${size(record.bytes_out)}, ${Math.round(record.ms).toLocaleString("en")} ms` }));
    for (const name of record.out) {
      const text = record.out.length > 1 ? name.split("/").pop() : "Save";
      about.append(make("a", { href: `/api/jobs/${job.id}/outputs/${encoded(name)}`, download: name.split("/").pop(), textContent: text }));
    }
  }
  const row = make("li", { className: "row" }, make("div", { className: "shots" }), about);
  row.dataset.shots = `/api/jobs/${job.id}/records/${number}/shots`;
  if (failed) row.firstChild.remove(); else seen.observe(row);
  return row;
}

function boxOf(entry) {
  const { job } = entry;
  entry.title = make("h3", { tabIndex: -1 });
  entry.progress = make("progress", { max: 1 });
  entry.progress.setAttribute("aria-label", `Progress of ${job.operation}`);
  entry.cancel = make("button", { type: "button", textContent: "Cancel" });
  entry.zip = make("a", { className: "button", href: `/api/jobs/${job.id}/zip`, textContent: "Save all as zip" });
  entry.remove = make("button", { type: "button", textContent: "Remove" });
  entry.summary = make("p", { className: "summary" });
  entry.summary.setAttribute("role", "status");
  entry.rows = make("ul", { className: "rows" });
  entry.cancel.addEventListener("click", async () => {
    entry.cancel.disabled = true;
    entry.summary.textContent = "Cancelling …";
    try {
      update(entry, await post(`/api/jobs/${job.id}/cancel`));
    } catch (error) {
      entry.cancel.disabled = false;
      entry.summary.textContent = error.message;
    }
  });
  entry.remove.addEventListener("click", async () => {
    entry.box.remove();
    jobs.splice(jobs.indexOf(entry), 1);
    $("none").hidden = jobs.length > 0;
    $("run").focus();
    await remove(`/api/jobs/${job.id}`).catch(() => {});
  });
  const header = make("header", {}, entry.title, entry.cancel, entry.zip, entry.remove);
  entry.box = make("article", { className: "job" }, header, entry.progress, entry.summary, entry.rows);
}

const ended = (job) => !["queued", "running"].includes(job.state);

function update(entry, job) {
  entry.job = { ...entry.job, ...job };
  const { state, total, summary, error } = entry.job, finished = entry.rows.children.length;
  const over = ended(entry.job);
  entry.title.textContent = `${job.operation}: ${state}`;
  entry.progress.hidden = entry.cancel.hidden = over;
  entry.remove.hidden = !over;
  entry.zip.hidden = !over || !entry.hasOutput;
  if (total) entry.progress.value = finished / total;
  const count = total ? `${finished.toLocaleString("en")} of ${total.toLocaleString("en")}` : state === "queued" ? "Waiting." : "Starting …";
  entry.summary.textContent = error ? `${error.code} ${error.message}` : over ? summary : count;
  entry.summary.classList.toggle("bad", Boolean(error));
}

function addRecord(entry, number, record) {
  if (number < entry.rows.children.length) return; // a stream that was opened again
  entry.rows.append(rowOf(entry.job, number, record));
  entry.hasOutput ||= record.status === "done" && record.out.length > 0;
}

/** Follow the first run that has not ended; a browser has few connections. */
let stream = null;
function follow() {
  const entry = jobs.find((one) => !ended(one.job));
  if (stream !== null || !entry) return;
  stream = new EventSource(`/api/jobs/${entry.job.id}/events`);
  const over = () => {
    stream.close();
    stream = null;
    follow();
  };
  stream.addEventListener("record", (event) => {
    const { number, record } = JSON.parse(event.data);
    addRecord(entry, number, record);
    update(entry, entry.job);
  });
  stream.addEventListener("state", (event) => {
    update(entry, JSON.parse(event.data));
    if (ended(entry.job)) over();
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState !== EventSource.CLOSED) return;
    update(entry, { ...entry.job, state: "failed", error: { code: "E002", message: "vaetools serve has ended, or the run was removed" } });
    over();
  });
}

/** Show a run and what it does. */
export function addJob(job, records = []) {
  const entry = { job, hasOutput: false };
  boxOf(entry);
  jobs.push(entry);
  records.forEach((record, number) => addRecord(entry, number, record));
  update(entry, job);
  results.prepend(entry.box);
  $("none").hidden = true;
  follow();
  return entry;
}

export async function startResults() {
  imageViewer(results, () => [...results.querySelectorAll("li.row")]);
  for (const { id } of (await get("/api/jobs")).jobs) {
    const job = await get(`/api/jobs/${id}`);
    addJob(job, ended(job) ? job.records : []);
  }
}
