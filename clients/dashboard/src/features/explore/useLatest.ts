import { useCallback, useLayoutEffect, useRef } from "react";

/** A function that stays the same from one drawing to the next, and does what the latest would. */
export function useLatest<Given extends unknown[], Back>(act: (...given: Given) => Back): (...given: Given) => Back {
  const latest = useRef(act);
  useLayoutEffect(() => {
    latest.current = act;
  });
  return useCallback((...given: Given) => latest.current(...given), []);
}
