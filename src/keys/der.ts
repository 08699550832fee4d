import {
  DER_INTEGER,
  type DerElement,
  readDerNumber as readCoreNumber,
  readDerElements,
  writeDerUnsigned,
} from "../core/der.ts";
import { isTallystickError, MalformedError } from "../core/errors.ts";

export {
  DER_INTEGER,
  DER_NULL,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  type DerElement,
  writeDer,
} from "../core/der.ts";

/** DER as private key files have it. What is wrong is `malformed-key`, and the message never shows a byte of a key. */

/** Elements that fill `bytes` exactly. */
export function readDer(bytes: Uint8Array): readonly DerElement[] {
  return quietly(() => readDerElements(bytes, "private key"));
}

/** Content of the one element of this tag that `bytes` holds. */
export function readDerOnly(bytes: Uint8Array, tag: number): Uint8Array {
  const elements = readDer(bytes);
  if (elements.length !== 1) throw notDer();
  return expectDer(elements[0], tag);
}

/** Content of an element that must be there and have this tag. */
export function expectDer(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw notDer();
  return element.content;
}

/** Non-negative integer of at most six bytes. */
export function readDerNumber(element: DerElement | undefined): number {
  expectDer(element, DER_INTEGER);
  return quietly(() => readCoreNumber(element as DerElement, "private key"));
}

/** DER integer of a number in 0..2^32−1. */
export function writeDerNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return writeDerUnsigned(bytes);
}

function quietly<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw isTallystickError(error) ? notDer() : error;
  }
}

function notDer(): MalformedError {
  return new MalformedError("malformed-key", "private key: expected PKCS#8 in DER");
}
