/** How much larger than usual letters are here: on very large screens all of the page is. */
export function letters(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;
}
