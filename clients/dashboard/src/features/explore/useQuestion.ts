import { useDebouncedCallback } from "@mantine/hooks";
import { useCallback, useMemo, useState } from "react";
import { changeAddress, readAddress } from "../../lib/address";
import { type Action, NOTHING, type Question, fromParams, toParams } from "../../lib/question";

/** The question of the page. It is in the address too, so that a link asks it again. */
export function useQuestion() {
  const [question, setQuestion] = useState<Question>(() => fromParams(readAddress()));
  // Browsers allow only so many changes of the address a second.
  const write = useDebouncedCallback((next: Question) => {
    changeAddress((old) => toParams(next, old));
  }, 300);

  const update = useCallback(
    (step: (old: Question) => Question) => {
      setQuestion((old) => {
        const next = step(old);
        write(next);
        return next;
      });
    },
    [write],
  );

  const acts = useMemo(
    () => ({
      setAction: (name: string, action: Action) =>
        update((old) => ({
          // What is acted on cannot be held.
          hold: old.hold.filter((held) => held !== name),
          actions: { ...old.actions, [name]: action },
        })),
      removeAction: (name: string) =>
        update((old) => ({
          ...old,
          actions: Object.fromEntries(Object.entries(old.actions).filter(([other]) => other !== name)),
        })),
      toggleHold: (name: string) =>
        update((old) => ({
          ...old,
          hold: old.hold.includes(name) ? old.hold.filter((held) => held !== name) : [...old.hold, name],
        })),
      clear: () => update(() => NOTHING),
    }),
    [update],
  );
  return { question, ...acts };
}

export type QuestionState = ReturnType<typeof useQuestion>;
