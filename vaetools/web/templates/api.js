/** Requests to the server. A response that is an error is thrown as `E013 message`, with its code. */

async function checked(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  let text = `The server answered ${response.status}.`, code = "";
  try {
    const body = await response.json();
    code = body.code;
    text = `${code} ${body.message}`;
  } catch {
    // not JSON: the status has to do
  }
  throw Object.assign(new Error(text), { code });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("vaetools serve does not answer: it has ended, or it refused a file while it was sent.");
  }
  return checked(response);
}

export const get = (path) => ask(path);
export const remove = (path) => ask(path, { method: "DELETE" });
export const post = (path, value = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

/** Upload one file; `purpose` is `input`, or `option` for masks and the like. Returns what the server knows. */
export async function upload(file, name, purpose) {
  const form = new FormData();
  form.append("file", file, name);
  const { uploads } = await ask(`/api/uploads?purpose=${purpose}`, { method: "POST", body: form });
  return uploads[0];
}
