// Files that the executable carries as text: import text from "./x.yaml" with { type: "text" }.

declare module "*.yaml" {
  const text: string;

  // biome-ignore lint/style/noDefaultExport: it is what such an import gives
  export default text;
}
