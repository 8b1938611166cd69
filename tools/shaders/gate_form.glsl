/* What a gate makes of its number s, and the slope of it: (f, f'); form: see wcohi_gate_form. */
vec2 gate(uint form, float s)
{
    float sigma;
    if (form == 0u) return vec2(s, 1.0);
    sigma = sigmoid(max(s, -80.0));
    if (form == 1u) return 2.0 * sigma * vec2(1.0, 1.0 - sigma);
    return sigma * vec2(s, 1.0 + s * (1.0 - sigma));
}
