"""Making a bundle that runs on machines without rondo's libraries (tools/gpu-lane bundle)."""
