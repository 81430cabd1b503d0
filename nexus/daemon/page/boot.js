// Chromium gives up what it is loading whenever a container on this machine gets a network, which is when workspaces start: then once more.

const TRIES = "nexus.tries";

import("./page.js").then(
  () => sessionStorage.removeItem(TRIES),
  () => {
    const tries = Number(sessionStorage.getItem(TRIES)) + 1;
    sessionStorage.setItem(TRIES, String(tries));
    if (tries <= 3) setTimeout(() => location.reload(), 300);
    else document.getElementById("line").textContent = "This page could not be loaded: reload it";
  },
);
