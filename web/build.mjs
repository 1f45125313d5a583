/** Build the page into a folder: node build.mjs [FOLDER]; by default into the package. */
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2] ?? path.join(here, "../src/limnet/server/page"));

/** The licence texts of the packages that ended up in the bundle. */
async function licences(inputs) {
  const names = new Set();
  for (const input of Object.keys(inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) names.add(found[1]);
  }
  const texts = [];
  for (const name of [...names].sort()) {
    const folder = path.join(here, "node_modules", name);
    const facts = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const source = facts.repository?.url ?? facts.repository ?? facts.homepage;
    const text = file ? await readFile(path.join(folder, file), "utf8") : `The package has no licence text; its source: ${source}\n`;
    texts.push(`${name} ${facts.version} (${facts.license})\n\n${text}`);
  }
  return texts.join(`\n${"=".repeat(80)}\n\n`);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  metafile: true,
  legalComments: "none", // all licence texts are in licences.txt
  logLevel: "warning",
});
for (const name of ["index.html", "style.css", "icon.svg"]) await cp(path.join(here, name), path.join(out, name));
await writeFile(path.join(out, "licences.txt"), await licences(result.metafile.inputs));
