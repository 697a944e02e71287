//! Routing: the hub of one IO thread, the registry of definitions, router, grants, policies, flow. Pure.
