/* What changes from one run of a recorded pass to the next, written by the host before it submits.
   */
layout(set = 0, binding = FRAME, std430) readonly buffer Frame
{
    uint active_bands;    /* bands past it are 0 at the input */
    float gradient_scale; /* 1 / (targets that count x micro-batches) */
    float learning_rate;
    float beta1;
    float beta2;
    float epsilon;
    float decay;
    float clip;        /* 0: none */
    float correction1; /* 1 / (1 - beta1^step) */
    float correction2;
    float muon_rate;
    float momentum; /* Muon's */
    uint noise_low;  /* key of the step, for what training drops */
    uint noise_high;
    uint window; /* windows of the step before this batch */
    uint open, opening; /* soft curriculum: bands up to there are heard, up to there times share */
    float share;
    float along; /* what the products of gradients and AdamW's, Muon's moments are multiplied by, that the .. */
    float along_muon; /* .. moments are means; 0: the first step */
}
frame;
