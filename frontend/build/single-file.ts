// Puts the built script and styles into one HTML file, with a policy that lets only that script run.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";
import { sourcesDigest } from "./sources";

const SCRIPT_MARK = "<!--bathyscope:script-->";
const STYLE_MARK = "<!--bathyscope:style-->";
const POLICY_MARK = "<!--bathyscope:policy-->";
const NOTICES_MARK = "<!--bathyscope:notices-->";
const SOURCES_MARK = "<!--bathyscope:sources-->";

/** Vite plugin: one self-contained `page.html`, nothing else. */
export function singleFile(root: string): Plugin {
  return {
    name: "bathyscope-single-file",
    enforce: "post",
    generateBundle(_options, bundle) {
      const items = Object.values(bundle);
      const script = items.flatMap((item) => (item.type === "chunk" ? [item.code] : [])).join("\n");
      const style = items
        .flatMap((item) => (item.type === "asset" && item.fileName.endsWith(".css") ? [String(item.source)] : []))
        .join("\n");
      const modules = items.flatMap((item) => (item.type === "chunk" ? Object.keys(item.modules) : []));
      for (const name of Object.keys(bundle)) delete bundle[name];
      const page = fill(readFileSync(join(root, "index.html"), "utf8"), {
        [SCRIPT_MARK]: `<script>${inert(script)}</script>`,
        [STYLE_MARK]: `<style>${style.trim().replaceAll("</", "<\\/")}</style>`,
        [POLICY_MARK]: policy(inert(script)),
        [NOTICES_MARK]: notices(modules),
        [SOURCES_MARK]: sourcesDigest(root),
      });
      this.emitFile({ type: "asset", fileName: "page.html", source: page });
    },
  };
}

function fill(page: string, parts: Record<string, string>): string {
  for (const [mark, part] of Object.entries(parts)) {
    const pieces = page.split(mark);
    if (pieces.length !== 2) throw new Error(`index.html must hold ${mark} exactly once`);
    page = pieces.join(part);
  }
  return page;
}

/** The script with nothing in it that an HTML parser would take for the end of the element. */
function inert(script: string): string {
  return script.trim().replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
}

/** Nothing may be fetched, and no script may run but the one whose sum is named here. */
function policy(script: string): string {
  const sum = createHash("sha256").update(script).digest("base64");
  return [
    "default-src 'none'",
    `script-src 'sha256-${sum}'`,
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}

/** Copyright notices of the packages whose code is in the script, as their licences ask. */
function notices(modules: string[]): string {
  const folders = new Set(modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? []));
  const texts = [...folders].sort().map((folder) => {
    const name = folder.split("/node_modules/").at(-1);
    const version = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
    const file = ["LICENSE", "LICENSE.md", "LICENCE", "license"].map((n) => join(folder, n)).find(existsSync);
    if (!file) throw new Error(`${name} carries no licence file`);
    return `${name} ${version}\n\n${readFileSync(file, "utf8").trim()}`;
  });
  return texts.join("\n\n").replaceAll("--", "- -");
}
