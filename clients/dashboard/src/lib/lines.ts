/** Spectral lines that are marked, by vacuum rest wavelength in angstrom. */

export interface Line {
  name: string;
  wavelength: number;
  kind: "emission" | "absorption";
}

export const LINES: readonly Line[] = [
  { name: "[O II]", wavelength: 3728.5, kind: "emission" },
  { name: "[Ne III]", wavelength: 3869.9, kind: "emission" },
  { name: "Ca K", wavelength: 3934.8, kind: "absorption" },
  { name: "Ca H", wavelength: 3969.6, kind: "absorption" },
  { name: "Hδ", wavelength: 4102.9, kind: "emission" },
  { name: "G", wavelength: 4305.6, kind: "absorption" },
  { name: "Hγ", wavelength: 4341.7, kind: "emission" },
  { name: "Hβ", wavelength: 4862.7, kind: "emission" },
  { name: "[O III]", wavelength: 4960.3, kind: "emission" },
  { name: "[O III]", wavelength: 5008.2, kind: "emission" },
  { name: "Mg b", wavelength: 5176.6, kind: "absorption" },
  { name: "Na D", wavelength: 5895.6, kind: "absorption" },
  { name: "[O I]", wavelength: 6302.0, kind: "emission" },
  { name: "Hα", wavelength: 6564.6, kind: "emission" },
  { name: "[N II]", wavelength: 6585.3, kind: "emission" },
  { name: "[S II]", wavelength: 6725.0, kind: "emission" },
];
