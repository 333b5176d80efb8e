"""Room: what people say of frames becomes counts, rates and measurements."""
