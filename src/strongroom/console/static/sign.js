// AWS Signature Version 4, as S3 takes it, by the browser's own cryptography.
// The body is not signed: it travels over TLS, and the browser streams it from the file.

const encoder = new TextEncoder();
const UNSIGNED = "UNSIGNED-PAYLOAD";
const ALGORITHM = "AWS4-HMAC-SHA256";

const hex = (buffer) =>
  Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

const digest = async (text) => hex(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

const macKey = (raw) =>
  crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);

const mac = (key, text) => crypto.subtle.sign("HMAC", key, encoder.encode(text));

// Percent-encode as S3 wants it: everything but letters, digits and "-._~".
export const encode = (text) =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => "%" + sign.charCodeAt(0).toString(16).toUpperCase(),
  );

export const encodePath = (path) => path.split("/").map(encode).join("/");

export const queryText = (query) =>
  Object.entries(query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");

export class Signer {
  // The secret is turned into a key that no script can read back.
  static async of({ accessKey, secretKey, token, region }) {
    const signer = new Signer();
    signer.accessKey = accessKey;
    signer.token = token || null;
    signer.region = region;
    signer.key = await macKey(encoder.encode("AWS4" + secretKey));
    return signer;
  }

  // Return the headers that a request needs; `path` is encoded already.
  async headers(method, path, query, headers = {}) {
    const now = timestamp();
    const signed = {
      ...lowered(headers),
      host: location.host,
      "x-amz-content-sha256": UNSIGNED,
      "x-amz-date": now,
    };
    if (this.token) signed["x-amz-security-token"] = this.token;
    const names = Object.keys(signed).sort();
    const canonical = [
      method,
      path,
      queryText(query),
      ...names.map((name) => `${name}:${signed[name].trim()}`),
      "",
      names.join(";"),
      UNSIGNED,
    ].join("\n");
    const signature = await this.#sign(now, canonical);
    const { host: _, ...sent } = signed;
    sent.authorization =
      `${ALGORITHM} Credential=${this.accessKey}/${this.#scope(now)}, ` +
      `SignedHeaders=${names.join(";")}, Signature=${signature}`;
    return sent;
  }

  // Return a URL that may be opened for some seconds.
  async link(path, query, seconds) {
    const now = timestamp();
    const whole = {
      ...query,
      "X-Amz-Algorithm": ALGORITHM,
      "X-Amz-Credential": `${this.accessKey}/${this.#scope(now)}`,
      "X-Amz-Date": now,
      "X-Amz-Expires": String(seconds),
      "X-Amz-SignedHeaders": "host",
    };
    if (this.token) whole["X-Amz-Security-Token"] = this.token;
    const text = queryText(whole);
    const canonical = ["GET", path, text, `host:${location.host}`, "", "host", UNSIGNED].join("\n");
    return `${path}?${text}&X-Amz-Signature=${await this.#sign(now, canonical)}`;
  }

  #scope(now) {
    return `${now.slice(0, 8)}/${this.region}/s3/aws4_request`;
  }

  async #sign(now, canonical) {
    let key = this.key;
    for (const step of this.#scope(now).split("/")) key = await macKey(await mac(key, step));
    const text = [ALGORITHM, now, this.#scope(now), await digest(canonical)].join("\n");
    return hex(await mac(key, text));
  }
}

const timestamp = () => new Date().toISOString().replace(/[-:]|\.\d+/g, "");

const lowered = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
