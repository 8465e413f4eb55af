"use strict";
/* Shows openapi.json, which lies beside the page; asks nobody else. */
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  supportedSubmitMethods: ["get", "post", "delete"],
});
