// What is on the page. Text is always set as text: names, logs and titles come from strangers.

export const byId = (id) => document.getElementById(id);

/** Return a new element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** Return an address to link to, or null: only pages, never scripts or files. */
export function webAddress(text) {
  const parsed = URL.canParse(text ?? "") ? new URL(text) : null;
  return parsed && (parsed.protocol === "http:" || parsed.protocol === "https:") ? parsed.href : null;
}

/** Return what went wrong in one line, with what to do. */
export function inWords(error) {
  return error.hint ? `${error.message} (${error.hint})` : error.message;
}

/** Make a select offer these [value, text] pairs; what was chosen stays so where it is still there. */
export function offer(select, pairs, chosen = select.value) {
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** Return bytes as base64, in the alphabet of addresses and without padding when asked. */
export function toBase64(bytes, { forAddress = false } = {}) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const text = btoa(binary);
  return forAddress ? text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") : text;
}
