// Shows /openapi.json: each endpoint with its fields, a command that calls it, and its errors.

const made = (tag, ...children) => {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
};

function row(name, schema, required) {
  const kind = schema.enum ? schema.enum.join(" or ") : [].concat(schema.type ?? schema.anyOf[0].type).join(" or ");
  const about = [schema.description, "default" in schema ? `default ${schema.default}` : null].filter(Boolean).join("; ");
  return made("tr", made("td", made("code", name)), made("td", kind), made("td", required ? "required" : ""), made("td", about));
}

function command(path, method, { content } = {}) {
  const address = location.origin + path;
  if (method === "get") return `curl '${address}'`;
  const example = JSON.stringify(content["application/json"].example);
  const body = example.length > 400 ? `${example.slice(0, 300)} …` : example;
  let text = `curl ${address} -H 'Content-Type: application/json' \\\n  -d '${body}'`;
  if (content["application/x-npy"]) {
    const label = content["application/json"].schema.required?.includes("label") ? "?label=0" : "";
    text += `\n\ncurl '${address}${label}' -H 'Content-Type: application/x-npy' -H 'Accept: application/x-npy' \\\n  --data-binary @in.npy -o out.npy`;
  }
  return text;
}

function endpoint(path, method, { summary, requestBody, parameters = [], responses }) {
  const name = made("code", method.toUpperCase());
  name.className = "method";
  const details = made("details", made("summary", name, " ", made("code", path), " ", summary));
  const schema = requestBody?.content["application/json"].schema;
  const fields = schema
    ? Object.entries(schema.properties).map(([field, one]) => row(field, one, schema.required?.includes(field)))
    : parameters.map((one) => row(one.name, one.schema, one.required));
  if (fields.length) details.append(made("table", ...fields));
  details.append(made("pre", command(path, method, requestBody)));
  const errors = Object.entries(responses).filter(([status]) => status !== "200");
  if (errors.length) details.append(made("table", ...errors.map(([status, { description }]) => made("tr", made("td", status), made("td", description)))));
  return details;
}

const theme = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.documentElement.dataset.theme = theme;
const description = await (await fetch("/openapi.json")).json();
document.title = `API of ${description.info.title}`;
document.getElementById("name").textContent = description.info.title;
document.getElementById("about").textContent = description.info.description;
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, one] of Object.entries(methods)) document.getElementById("endpoints").append(endpoint(path, method, one));
}
