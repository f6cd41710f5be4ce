// Requests to the server: numbers travel as npy, errors become exceptions with its message.

function npy(values, shape) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + 4 * values.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(Float32Array.from(values).buffer), 10 + header.length);
  return bytes;
}

function numbers(buffer) {
  const start = 10 + new DataView(buffer).getUint16(8, true);
  return new Float32Array(buffer.slice(start));
}

export async function checked(response) {
  if (!response.ok) throw new Error((await response.json().catch(() => ({ error: response.statusText }))).error);
  return response;
}

// The numbers that an operation gives for values of this shape, or without values for the query alone.
export async function post(operation, values, shape, query) {
  const headers = { "Content-Type": "application/x-npy", Accept: "application/x-npy" };
  const body = values ? npy(values, shape) : undefined;
  return numbers(await (await checked(await fetch(`/${operation}?${query}`, { method: "POST", headers, body }))).arrayBuffer());
}
