// Blocks of the page: gzip bytes as base64 in inert script elements, unpacked when they are looked at.

export class UnpackError extends Error {}

/** The bytes of a block's text: base64, then gzip. */
export async function unpack(packed: string): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof DecompressionStream === "undefined") {
    throw new UnpackError(
      "This browser cannot unpack the page's data (it lacks DecompressionStream). " +
        "Please open the file in Chrome or Edge 80, Firefox 113, Safari 16.4, or a newer version.",
    );
  }
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The text of block `name`; waits for the rest of the file when the block has not been read yet. */
export async function packed(name: string): Promise<string> {
  let element = document.getElementById(name);
  if (!element && document.readyState === "loading") {
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
    element = document.getElementById(name);
  }
  if (!element) throw new UnpackError(`The file lacks the block “${name}”: it may have been cut off while copying.`);
  return element.textContent ?? "";
}

/** The bytes of block `name`. */
export async function block(name: string): Promise<Uint8Array<ArrayBuffer>> {
  return unpack(await packed(name));
}

/** The JSON value of block `name`. */
export async function jsonBlock<T>(name: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await block(name))) as T;
}
