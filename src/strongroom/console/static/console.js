// The page: what is shown, and what happens on a click. Everything else is in store.js.

import { Signer } from "./sign.js";
import { Store, metadataOf } from "./store.js";

const $ = (selector, within = document) => within.querySelector(selector);
const region = $("meta[name=strongroom-region]").content;

let store = null;
let place = { bucket: null, prefix: "" };
let shown = null;

// What to show

// Said on the page and in the dialog, which lies over the page.
const tell = (text) => {
  for (const told of document.querySelectorAll(".told")) {
    told.textContent = text;
    told.hidden = !text;
  }
};

const button = (text, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "link";
  made.textContent = text;
  made.addEventListener("click", guarded(act));
  return made;
};

const row = (...cells) => {
  const made = document.createElement("tr");
  for (const cell of cells) {
    const column = document.createElement("td");
    column.append(cell);
    made.append(column);
  }
  return made;
};

const when = (text) => (text ? new Date(text).toLocaleString() : "");

const trail = () => {
  const steps = [["Buckets", showBuckets]];
  if (place.bucket) {
    const bucket = place.bucket;
    steps.push([bucket, () => showFolder(bucket, "")]);
    let prefix = "";
    for (const step of place.prefix.split("/").slice(0, -1)) {
      prefix += step + "/";
      const here = prefix;
      steps.push([step || "/", () => showFolder(bucket, here)]);
    }
  }
  $("#trail").replaceChildren(...steps.map(([name, act]) => button(name, act)));
};

const only = (id) => {
  for (const part of ["sign-in", "buckets", "folder"]) $("#" + part).hidden = part !== id;
  $("#sign-out").hidden = id === "sign-in";
};

// Run what a person asked for: one thing at a time, and say what went wrong.
const guarded =
  (act) =>
  async (event) => {
    event?.preventDefault();
    document.body.setAttribute("aria-busy", "true");
    tell("");
    try {
      await act(event);
    } catch (error) {
      tell(error.message);
    } finally {
      document.body.removeAttribute("aria-busy");
    }
  };

const on = (id, kind, act) => $(id).addEventListener(kind, guarded(act));

// Buckets and folders

const showBuckets = async () => {
  const found = await store.buckets();
  place = { bucket: null, prefix: "" };
  $("#buckets tbody").replaceChildren(
    ...found.map(({ name, made }) => row(button(name, () => showFolder(name, "")), when(made))),
  );
  only("buckets");
  trail();
};

const showFolder = async (bucket, prefix) => {
  const page = await store.list(bucket, prefix, null);
  place = { bucket, prefix };
  $("#folder tbody").replaceChildren();
  fill(page);
  only("folder");
  trail();
};

const fill = ({ folders, objects, next }) => {
  const { bucket, prefix } = place;
  const name = (key) => key.slice(prefix.length) || key;
  $("#folder tbody").append(
    ...folders.map((folder) => row(button(name(folder), () => showFolder(bucket, folder)), "", "")),
    ...objects.map(({ key, bytes, modified }) =>
      row(
        button(name(key), () => showObject(key)),
        bytes.toLocaleString(),
        when(modified),
      ),
    ),
  );
  $("#more").hidden = !next;
  $("#more").dataset.token = next ?? "";
};

// One object

const FACTS = [
  ["Content type", "content-type"],
  ["Bytes", "content-length"],
  ["Modified", "last-modified"],
  ["ETag", "etag"],
  ["Version", "x-amz-version-id"],
  ["Encryption", "x-amz-server-side-encryption"],
  ["KMS key", "x-amz-server-side-encryption-aws-kms-key-id"],
  ["Storage class", "x-amz-storage-class"],
  ["Locked until", "x-amz-object-lock-retain-until-date"],
];

const showObject = async (key) => {
  let headers = null;
  try {
    headers = await store.head(place.bucket, key);
  } catch (error) {
    if (!error.needsCustomerKey) throw error;
  }
  shown = key;
  const facts = [];
  const metadata = headers ? metadataOf(headers) : [];
  for (const [title, name] of headers ? FACTS : []) {
    if (headers.get(name)) facts.push([title, headers.get(name)]);
  }
  for (const [name, value] of metadata) facts.push([name, value]);
  $("#object-name").textContent = key;
  $("#object dl").replaceChildren(
    ...facts.flatMap(([title, value]) => {
      const pair = [document.createElement("dt"), document.createElement("dd")];
      pair[0].textContent = title;
      pair[1].textContent = value;
      return pair;
    }),
  );
  $("#locked").hidden = headers !== null;
  $("#describe").hidden = headers === null;
  $("#download").disabled = headers === null;
  $("#describe").type.value = headers?.get("content-type") ?? "";
  $("#describe").metadata.value = metadata.map(([name, value]) => `${name}: ${value}`).join("\n");
  if (!$("#object").open) $("#object").showModal();
};

const metadataLines = (text) =>
  text
    .split("\n")
    .filter((line) => line.trim())
    .map((line) => {
      const [name, ...rest] = line.split(":");
      if (!rest.length) throw new Error(`“${line}” is not “name: value”.`);
      return [name.trim().toLowerCase(), rest.join(":").trim()];
    });

// What people do

on("#sign-in", "submit", async () => {
  const form = $("#sign-in");
  const signer = await Signer.of({
    accessKey: form.access.value.trim(),
    secretKey: form.secret.value,
    token: form.token.value.trim(),
    region,
  });
  store = new Store(signer);
  await showBuckets();
  form.reset();
});

on("#sign-out", "click", async () => {
  store = null;
  place = { bucket: null, prefix: "" };
  $("#buckets tbody").replaceChildren();
  $("#folder tbody").replaceChildren();
  $("#trail").replaceChildren();
  only("sign-in");
});

on("#make", "submit", async () => {
  await store.makeBucket($("#make").bucket.value.trim());
  $("#make").reset();
  await showBuckets();
});

on("#upload", "submit", async () => {
  const bar = $("#upload progress");
  bar.hidden = false;
  try {
    for (const file of $("#upload").files.files) {
      bar.value = 0;
      await store.upload(place.bucket, place.prefix + file.name, file, (sent, all) => {
        bar.value = all ? sent / all : 1;
      });
    }
    $("#upload").reset();
  } finally {
    bar.hidden = true;
  }
  await showFolder(place.bucket, place.prefix);
});

on("#more", "click", async () => {
  fill(await store.list(place.bucket, place.prefix, $("#more").dataset.token));
});

on("#download", "click", async () => {
  await store.head(place.bucket, shown);
  const link = document.createElement("a");
  link.href = await store.link(place.bucket, shown);
  link.download = "";
  link.click();
});

on("#describe", "submit", async () => {
  const form = $("#describe");
  const lines = metadataLines(form.metadata.value);
  await store.describe(place.bucket, shown, form.type.value.trim(), lines);
  await showObject(shown);
  tell("Saved.");
});

on("#remove", "click", async () => {
  if (!confirm(`Delete ${shown}?`)) return;
  await store.remove(place.bucket, shown);
  $("#object").close();
  await showFolder(place.bucket, place.prefix);
});

$("#close").addEventListener("click", () => $("#object").close());
