// The ports of a workspace, with links where there is a way to them.

import { byId, el, inWords, webAddress } from "./dom.js";

const LISTENS = { true: "yes", false: "no" };

export class PortTable {
  #line;
  #asked = 0;

  constructor(line) {
    this.#line = line;
  }

  /** Ask and show; an answer that was overtaken is dropped. */
  async show(workspace) {
    const asked = ++this.#asked;
    const none = byId("ports-none");
    try {
      const { items } = await this.#line.call("ports.list", { workspace });
      if (asked !== this.#asked) return;
      byId("ports").replaceChildren(...items.map(row));
      none.textContent = "It has no ports.";
      none.hidden = items.length > 0;
    } catch (error) {
      if (asked !== this.#asked) return;
      byId("ports").replaceChildren();
      none.textContent = inWords(error);
      none.hidden = false;
    }
  }
}

function row(port) {
  const number = port.protocol === "tcp" ? String(port.containerPort) : `${port.containerPort}/${port.protocol}`;
  return el(
    "tr",
    {},
    el("td", {}, number),
    el("td", {}, port.name ?? ""),
    el("td", {}, LISTENS[port.listening] ?? "unknown"),
    el("td", {}, way(port), port.note ? el("div", {}, port.note) : ""),
  );
}

function way(port) {
  const address = webAddress(port.url);
  if (address === null) return port.hostPort ? `port ${port.hostPort} of this host` : "";
  return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, port.url);
}
