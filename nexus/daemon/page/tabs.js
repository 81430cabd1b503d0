// Tabs as assistive technology expects them: one is in the order of the Tab key, arrows move between them.

export class Tabs {
  #tabs;
  #told;

  constructor(list, told) {
    this.#tabs = [...list.querySelectorAll('[role="tab"]')];
    this.#told = told;
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.show(tab.id));
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = this.#tabs.indexOf(document.activeElement);
      const next = this.#tabs[(at + step + this.#tabs.length) % this.#tabs.length];
      next.focus();
      this.show(next.id);
    });
    this.#reveal(this.#tabs[0].id);
  }

  get shown() {
    return this.#tabs.find((tab) => tab.getAttribute("aria-selected") === "true");
  }

  /** Show what belongs to a tab, and tell of it. */
  show(id) {
    this.#reveal(id);
    this.#told(id);
  }

  #reveal(id) {
    for (const tab of this.#tabs) {
      const chosen = tab.id === id;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
  }
}
