// The JSON API, as far as the page uses it.

/** What the server answers, or an Error with its own words. */
export async function call(method, path, body) {
  const options = { method, headers: { accept: "application/json" } };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer");
  }
  if (answer.status === 401) {
    location.assign("login");
    throw new Error("the token is asked for again");
  }
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error ?? `the server says ${answer.status}`);
  return data;
}

export const ofSource = (name, rest = "") => `api/sources/${encodeURIComponent(name)}${rest}`;
