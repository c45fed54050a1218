// The calls of S3 that the page makes, each signed, each error told in the store's own words.

import { encode, encodePath, queryText } from "./sign.js";

export const PAGE_KEYS = 200;
const LINK_SECONDS = 60;
const LARGEST_PUT = 5 * 1024 ** 3;
const META = "x-amz-meta-";

// What a copy that replaces metadata would lose, or take from the bucket's default.
const KEPT = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "expires",
  "x-amz-server-side-encryption",
  "x-amz-server-side-encryption-aws-kms-key-id",
  "x-amz-server-side-encryption-bucket-key-enabled",
  "x-amz-website-redirect-location",
];

export class StoreError extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }

  // The object is under a key that its owner keeps (SSE-C), and the console takes none.
  get needsCustomerKey() {
    return this.status === 400 && /server side encryption/i.test(this.message);
  }
}

const parse = (text) => new DOMParser().parseFromString(text, "application/xml");
const textOf = (node, name) => node.getElementsByTagName(name)[0]?.textContent ?? "";
const unquote = (text) => decodeURIComponent(text.replaceAll("+", "%20"));

const failure = (status, text) => {
  const told = parse(text);
  const code = textOf(told, "Code");
  return new StoreError(status, code, textOf(told, "Message") || `The store answered ${status}.`);
};

const pathOf = (bucket, key) => {
  if (key.split("/").some((step) => step === "." || step === "..")) {
    throw new StoreError(0, "", "A browser cannot ask for a key with “.” or “..” as a step.");
  }
  return `/${encode(bucket)}/${encodePath(key)}`;
};

export class Store {
  constructor(signer) {
    this.signer = signer;
  }

  async buckets() {
    const told = parse(await this.#text("GET", "/", {}));
    return Array.from(told.getElementsByTagName("Bucket"), (node) => ({
      name: textOf(node, "Name"),
      made: textOf(node, "CreationDate"),
    }));
  }

  async makeBucket(name) {
    await this.#text("PUT", `/${encode(name)}`, {});
  }

  // One page of a folder: {folders, objects, next}.
  async list(bucket, prefix, token) {
    const query = {
      "list-type": "2",
      delimiter: "/",
      prefix,
      "encoding-type": "url",
      "max-keys": String(PAGE_KEYS),
    };
    if (token) query["continuation-token"] = token;
    const told = parse(await this.#text("GET", `/${encode(bucket)}`, query));
    return {
      folders: Array.from(told.getElementsByTagName("CommonPrefixes"), (node) =>
        unquote(textOf(node, "Prefix")),
      ),
      objects: Array.from(told.getElementsByTagName("Contents"), (node) => ({
        key: unquote(textOf(node, "Key")),
        bytes: Number(textOf(node, "Size")),
        modified: textOf(node, "LastModified"),
      })),
      next: textOf(told, "NextContinuationToken") || null,
    };
  }

  // The headers of an object. A HEAD's fault has no text, so a GET is asked for the reason.
  async head(bucket, key) {
    const path = pathOf(bucket, key);
    const answer = await this.#send("HEAD", path, {});
    if (answer.ok) return answer.headers;
    const asked = await this.#send("GET", path, {}, { range: "bytes=0-0" });
    const text = await asked.text();
    throw asked.ok ? new StoreError(answer.status, "", "Try again.") : failure(asked.status, text);
  }

  async remove(bucket, key) {
    await this.#text("DELETE", pathOf(bucket, key), {});
  }

  // Replace the content type and the user's metadata by copying the object onto itself.
  async describe(bucket, key, contentType, metadata) {
    const path = pathOf(bucket, key);
    const before = await this.head(bucket, key);
    const headers = {
      "content-type": contentType,
      "x-amz-copy-source": path,
      "x-amz-copy-source-if-match": before.get("etag"),
      "x-amz-metadata-directive": "REPLACE",
    };
    for (const name of KEPT) if (before.get(name)) headers[name] = before.get(name);
    for (const [name, value] of metadata) headers[META + name] = value;
    await this.#text("PUT", path, {}, headers);
  }

  // A URL that the browser saves as a file; `head` first, or an error would be what it saves.
  async link(bucket, key) {
    const name = encode(key.slice(key.lastIndexOf("/") + 1));
    const query = { "response-content-disposition": `attachment; filename*=UTF-8''${name}` };
    return this.signer.link(pathOf(bucket, key), query, LINK_SECONDS);
  }

  async upload(bucket, key, file, progress) {
    if (file.size > LARGEST_PUT) {
      throw new StoreError(0, "", "This is larger than 5 GiB: send it with “strongroom cp”.");
    }
    const path = pathOf(bucket, key);
    const type = { "content-type": file.type || "application/octet-stream" };
    const headers = await this.signer.headers("PUT", path, {}, type);
    await new Promise((done, fail) => {
      // Not fetch: it does not tell how much has been sent.
      const request = new XMLHttpRequest();
      request.open("PUT", path);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => progress(event.loaded, file.size);
      request.onload = () =>
        request.status === 200 ? done() : fail(failure(request.status, request.responseText));
      request.onerror = () => fail(new StoreError(0, "", "The connection to the store was lost."));
      request.send(file);
    });
  }

  async #text(method, path, query, headers) {
    const answer = await this.#send(method, path, query, headers);
    const text = await answer.text();
    if (!answer.ok) throw failure(answer.status, text);
    return text;
  }

  async #send(method, path, query, headers) {
    // Made before the request: a value that HTTP cannot carry is no fault of the connection.
    const signed = new Headers(await this.signer.headers(method, path, query, headers));
    const text = queryText(query);
    try {
      return await fetch(text ? `${path}?${text}` : path, {
        method,
        headers: signed,
        cache: "no-store",
      });
    } catch {
      throw new StoreError(0, "", "The store does not answer: is it running?");
    }
  }
}

export const metadataOf = (headers) =>
  Array.from(headers)
    .filter(([name]) => name.startsWith(META))
    .map(([name, value]) => [name.slice(META.length), value]);
