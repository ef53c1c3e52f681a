//! The control plane: REST and OpenAPI.
