import { useState } from "react";
import type { GivenRedshift, Source } from "../../api/queries";
import { changeAddress, readAddress } from "../../lib/address";
import { redshiftOf, withRedshift } from "../../lib/redshift";
import { useLatest } from "./useLatest";

interface Chosen {
  source: Source | null;
  /** The file that a link asks about: a link cannot bring it. */
  awaited: string | null;
  redshift: GivenRedshift;
}

function fromAddress(): Chosen {
  const params = readAddress();
  const awaited = params.get("file") || null;
  const source: Source | null = awaited ? null : { kind: "example", name: params.get("example") ?? "example" };
  return { source, awaited, redshift: redshiftOf(params) };
}

/** Which galaxy is asked about, and at which redshift. Both are in the address. */
export function useSource() {
  const [chosen, setChosen] = useState(fromAddress);
  const choose = useLatest((source: Source) => {
    // The redshift of a link is that of its file; any other galaxy has its own.
    const meant = source.kind === "file" && source.file.name === chosen.awaited;
    const redshift = meant ? chosen.redshift : null;
    setChosen({ source, awaited: null, redshift });
    changeAddress((params) => {
      params.delete("example");
      params.delete("file");
      params.set(source.kind, source.kind === "file" ? source.file.name : source.name);
      return withRedshift(params, redshift);
    });
  });
  const giveRedshift = useLatest((redshift: GivenRedshift) => {
    setChosen({ ...chosen, redshift });
    changeAddress((params) => withRedshift(params, redshift));
  });
  return { ...chosen, choose, giveRedshift };
}
