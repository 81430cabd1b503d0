// The list of workspaces, and what may be done with one in each status.

import { byId, el } from "./dom.js";

const DO = {
  start: ["Start", "workspace.start"],
  resume: ["Resume", "workspace.resume"],
  pause: ["Pause", "workspace.pause"],
  stop: ["Stop", "workspace.stop"],
  switch: ["Switch to it", "workspace.switch"],
};

const FITTING = {
  stopped: ["start", "switch"],
  error: ["start", "stop"],
  paused: ["resume", "stop", "switch"],
  running: ["pause", "stop", "switch"],
};

/** Return every workspace; records that cannot be understood come with a status of "error". */
export async function all(line) {
  const found = [];
  let cursor = null;
  do {
    const page = await line.call("workspace.list", { cursor });
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor);
  return found.map((entry) => (entry.status ? entry : { ...entry, id: entry.path, status: "error", statusMessage: entry.reason, damaged: true }));
}

export const shownName = (info) => info.displayName || info.name;

/** Show the list; one element for each workspace stays the same, so that the focus stays where it is. */
export class WorkspaceList {
  #items = new Map();
  #list = byId("workspaces");
  #told;

  constructor(told) {
    this.#told = told;
    this.#list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      const next = step && document.activeElement.closest("li")?.[step];
      if (!next) return;
      event.preventDefault();
      next.firstElementChild.focus();
    });
  }

  show(infos, chosen) {
    byId("none").hidden = infos.length > 0;
    const known = new Set(infos.map((info) => info.id));
    for (const [id, item] of this.#items) {
      if (known.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    infos.forEach((info, at) => {
      const item = this.#item(info.id);
      fill(item.firstElementChild, info, info.id === chosen);
      if (this.#list.children[at] !== item) this.#list.insertBefore(item, this.#list.children[at] ?? null);
    });
  }

  #item(id) {
    if (!this.#items.has(id)) {
      const button = el("button", { type: "button" });
      button.addEventListener("click", () => this.#told(id));
      this.#items.set(id, el("li", {}, button));
    }
    return this.#items.get(id);
  }
}

function fill(button, info, chosen) {
  button.setAttribute("aria-current", String(chosen));
  button.replaceChildren(
    el("span", { className: `dot ${info.status}` }),
    el("span", { className: "name" }, shownName(info)),
    ...(info.current ? [el("span", { className: "badge" }, "current")] : []),
    el("span", { className: "about" }, [info.status, info.branch].filter(Boolean).join(" · ")),
  );
}

/** Show what may be done with a workspace. told(method) is called with what was chosen. */
export function showActions(place, info, busy, told) {
  const fitting = (info.damaged ? [] : FITTING[info.status] ?? []).filter((what) => what !== "switch" || !info.current);
  const before = document.activeElement?.closest("#actions") ? document.activeElement.dataset.what : null;
  place.replaceChildren(
    ...fitting.map((what, at) => {
      const [text, method] = DO[what];
      const button = el("button", { type: "button", disabled: busy, className: at === 0 && what !== "pause" ? "first" : "" }, text);
      button.dataset.what = what;
      button.addEventListener("click", () => told(method));
      return button;
    }),
  );
  const same = before && [...place.children].find((button) => button.dataset.what === before);
  (same ?? (before && place.firstElementChild))?.focus();
}
