#include "gate_form.glsl"
/* s of stride lds, v of stride ldv from column `column` on */
layout(push_constant) uniform Gate { uint count, width, lds, ldv, column, form; }
p;
