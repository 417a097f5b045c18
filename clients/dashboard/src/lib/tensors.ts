/** Arrays of the msgpack form of the interface: raw little-endian numbers with a type and a shape. */

export interface Tensor {
  dtype: "float32" | "float64" | "bool";
  shape: number[];
  data: Uint8Array;
}

export function toTensor(values: Float32Array): Tensor {
  return {
    dtype: "float32",
    shape: [values.length],
    data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  };
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "dtype" in value && "data" in value;
}

function fromTensor({ dtype, data }: Tensor): Float32Array | Float64Array | boolean[] {
  // The bytes stand somewhere in the message: numbers need their own, aligned place.
  const own = data.slice().buffer;
  if (dtype === "bool") return Array.from(data, (byte) => byte !== 0);
  return dtype === "float32" ? new Float32Array(own) : new Float64Array(own);
}

/** A decoded message with arrays of numbers in place of its tensors. */
export function withArrays(value: unknown): unknown {
  if (isTensor(value)) return fromTensor(value);
  if (Array.isArray(value)) return value.map(withArrays);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withArrays(part)]));
  }
  return value;
}

/** Plain lists in place of typed arrays, as JSON has them; what is no number is null. */
export function withLists(_key: string, value: unknown): unknown {
  if (value instanceof Float32Array || value instanceof Float64Array) {
    return Array.from(value, (one) => (Number.isFinite(one) ? Number(one.toPrecision(7)) : null));
  }
  return value;
}
