// Builds the dashboard into scheduler/dashboard/, which is committed: whoever installs eratos needs no Node.
// `node build.mjs --test` builds the tests into .test/ instead; `--out FOLDER` builds somewhere else, to compare.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const shared = { bundle: true, format: "esm", target: "es2022", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning" };

if (process.argv.includes("--test")) {
  await rm(join(here, ".test"), { recursive: true, force: true });
  const tests = (await readdir(join(here, "test"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...shared,
    platform: "node",
    packages: "external",
    entryPoints: tests.map((name) => join(here, "test", name)),
    outdir: join(here, ".test"),
    outExtension: { ".js": ".mjs" },
  });
} else {
  const place = process.argv.indexOf("--out");
  const out = place > 0 ? process.argv[place + 1] : join(here, "..", "scheduler", "dashboard");
  await mkdir(out, { recursive: true });
  await build({
    ...shared,
    platform: "browser",
    minify: true,
    legalComments: "none",
    charset: "utf8",
    entryPoints: { dashboard: join(here, "src", "main.tsx") },
    outdir: out,
  });
  await build({ entryPoints: { dashboard: join(here, "src", "style.css") }, bundle: true, minify: true, outdir: out, logLevel: "warning" });
  for (const name of ["index.html", "icon.svg"]) await copyFile(join(here, "src", name), join(out, name));
  await writeFile(join(out, "licences.txt"), await licences());
  await writeFile(join(out, "built-from"), `${await source()}\n`);
}

/** What the build was made from, as a digest: a test that has no Node compares it with the folder. */
async function source() {
  const names = ["package.json", "package-lock.json", "tsconfig.json", "build.mjs"];
  for (const entry of await readdir(join(here, "src"), { recursive: true, withFileTypes: true }))
    if (entry.isFile()) names.push(relative(here, join(entry.parentPath ?? entry.path, entry.name)));
  const hash = createHash("sha256");
  for (const name of names.sort()) hash.update(`${name}\0`).update(await readFile(join(here, name))).update("\0");
  return hash.digest("hex");
}

/** The licences of what is part of the bundle. */
async function licences() {
  const { dependencies } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  const texts = Object.keys(dependencies).map(async (name) => {
    const { version } = JSON.parse(await readFile(join(here, "node_modules", name, "package.json"), "utf8"));
    const text = await readFile(join(here, "node_modules", name, "LICENSE"), "utf8");
    return `${name} ${version}\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join("\n----\n\n");
}
