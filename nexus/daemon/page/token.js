// The token comes behind the # of the address, which is sent to nobody, and leaves it at once. This tab keeps it until it is closed.

const KEPT = "nexus.token";
const TOKEN = /^(?:.*#)?(?:token=)?([A-Za-z0-9._~+/=-]+)$/;

/** Return the token in an address, a fragment or a bare token; null where there is none. */
export function tokenIn(text) {
  return TOKEN.exec(text.trim())?.[1] ?? null;
}

/** Keep a token for reloads of this tab. */
export function keep(token) {
  sessionStorage.setItem(KEPT, token);
}

/** Return the token of the address, which is removed from there, or else the one that this tab keeps. */
export function take() {
  if (location.hash.startsWith("#token=")) {
    const found = tokenIn(location.hash);
    history.replaceState(null, "", location.pathname);
    if (found) keep(found);
  }
  return sessionStorage.getItem(KEPT);
}

/** Forget a token that no longer holds. */
export function forget() {
  sessionStorage.removeItem(KEPT);
}
