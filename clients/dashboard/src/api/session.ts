/** The token of whoever looks at the page: kept until the tab is closed, and nowhere else. */
const KEY = "acie.token";

let token: string | null = sessionStorage.getItem(KEY);
let refused = false;
let snapshot = { signedIn: token !== null, refused };
const listeners = new Set<() => void>();

function change() {
  snapshot = { signedIn: token !== null, refused };
  for (const listener of listeners) listener();
}

export const session = {
  subscribe(listener: () => void) {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  },
  snapshot: () => snapshot,
  /** Headers that say who asks. */
  headers(): Record<string, string> {
    if (token === null) return {};
    // API keys begin so; anything else is a token.
    return token.startsWith("acie_") ? { "X-API-Key": token } : { Authorization: `Bearer ${token}` };
  },
  signIn(given: string) {
    token = given.trim();
    refused = false;
    sessionStorage.setItem(KEY, token);
    change();
  },
  signOut() {
    token = null;
    sessionStorage.removeItem(KEY);
    change();
  },
  /** The server said 401. */
  refuse() {
    if (refused) return;
    refused = true;
    change();
  },
};
