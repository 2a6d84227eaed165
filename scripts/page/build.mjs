// Builds the part of a live page that is the same for all robots: one HTML file, to which Python adds a robot.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = process.argv[2];
const text = (path) => readFileSync(path, "utf8");
const packed = (bytes) => gzipSync(bytes, { level: 9 }).toString("base64");
const blob = (id, bytes) => `<script type="application/gzip" id="${id}">${packed(bytes)}</script>`;

const bundled = await build({
  entryPoints: ["app/main.js"],
  bundle: true,
  minify: true,
  write: false,
  format: "iife",
  platform: "browser",
  target: "es2022",
  external: ["module", "node:*", "fs", "path", "url", "worker_threads", "crypto", "ws"],
  define: { "import.meta.url": "document.baseURI" },
  legalComments: "none",
  logLevel: "warning",
});
const versions = Object.entries(JSON.parse(text("package.json")).dependencies);
const licences = versions.map(([name, version]) => {
  const { license } = JSON.parse(text(`node_modules/${name}/package.json`));
  let words = license;
  for (const file of ["LICENSE", "LICENSE.txt", "LICENSE.md"]) {
    try { words = text(`node_modules/${name}/${file}`); break; } catch { /* not all packages bring the text */ }
  }
  return `${name} ${version} (${license})\n\n${words}`;
});
const page = text("page.html")
  .replace("/*style*/", () => text("page.css"))
  .replace("<!--parts-->", () => [
    `<script type="text/plain" id="licences">${licences.join("\n\n").replaceAll("<", "&lt;")}</script>`,
    blob("app", Buffer.from(bundled.outputFiles[0].contents)),
    blob("mujoco", readFileSync("node_modules/@mujoco/mujoco/mujoco.wasm")),
    blob("onnxruntime", readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")),
  ].join("\n"));
writeFileSync(out, page);
console.log(`wrote ${out}: ${(page.length / 1e6).toFixed(1)} MB`);
