// Builds dist/: the ES module and its types, and dist/page, a static page with its model.
//
//     node build.mjs [MODEL_FOLDER…]
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { parse } from "smol-toml";

const SHIPPED = "../exported_models/vaetools_models/photo-codec";
const ENCODING = ["analysis", "hyper_analysis", "synthesis_gradient"];

rmSync("dist", { recursive: true, force: true });
const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning" };
await build({
  ...common,
  entryPoints: ["src/index.ts"],
  outfile: "dist/vaetools.js",
  external: ["onnxruntime-web"],
  platform: "neutral",
  mainFields: ["module", "main"],
});
// For tests: parts that are not public.
const inner = 'export { crc32 } from "./src/container.js"; export { Payload, Table } from "./src/payload.js";';
await build({ ...common, stdin: { contents: inner, resolveDir: "." }, outfile: "dist/internals.js" });
execFileSync("node_modules/.bin/tsc", ["--emitDeclarationOnly"], { stdio: "inherit" });

const page = "dist/page";
mkdirSync(join(page, "models"), { recursive: true });
await build({
  ...common,
  entryPoints: ["page/view.ts", "page/worker.ts"],
  outdir: page,
  minify: true,
  conditions: ["onnxruntime-web-use-extern-wasm"],
});
for (const name of ["index.html", "view.css"]) cpSync(join("page", name), join(page, name));
const runtime = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded";
cpSync(`${runtime}.mjs`, join(page, "ort.mjs"));
writeFileSync(join(page, "ort.wasm.gz"), gzipSync(readFileSync(`${runtime}.wasm`), { level: 9 }));
const folders = process.argv.length > 2 ? process.argv.slice(2) : [SHIPPED];
for (const folder of folders.map((name) => resolve(name))) copyDecoder(folder, join(page, "models", basename(folder)));
writeFileSync(join(page, "models/index.json"), JSON.stringify(folders.map((name) => basename(name))));

/** What decoding needs of a model folder. */
function copyDecoder(from, to) {
  mkdirSync(to);
  const manifest = parse(readFileSync(join(from, "model.toml"), "utf8"));
  const graphs = Object.entries(manifest.graphs).filter(([role]) => !ENCODING.includes(role));
  const parts = [...graphs.map(([, graph]) => graph), manifest.files.tables, manifest.weights ?? []].flat();
  const files = [...parts.map((part) => part.file), "model.toml"];
  for (const name of files) cpSync(join(from, name), join(to, name));
}
