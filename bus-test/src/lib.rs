//! Tests of a bus: the same pipeline in memory.
