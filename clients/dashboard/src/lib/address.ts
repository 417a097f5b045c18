/** The parameters of the page's address. */

export function readAddress(): URLSearchParams {
  return new URLSearchParams(window.location.search);
}

/**
 * Changes them at once and in place. The router would do it after its next render, and what is
 * changed meanwhile would be lost; nothing on the page is drawn from the address after it was loaded.
 */
export function changeAddress(step: (params: URLSearchParams) => URLSearchParams): void {
  const text = step(readAddress()).toString();
  const { pathname, hash } = window.location;
  window.history.replaceState(window.history.state, "", `${pathname}${text && "?"}${text}${hash}`);
}
