/* Whose row each row of the batch is, written by the host before it submits. */
struct Member
{
    uint slot;          /* where its states stand; ABSENT: nobody's, the row fills a place */
    uint position_low;  /* tokens heard before this run, 64 bits */
    uint position_high;
    uint ring_start;    /* dot attention: position % context */
};
const uint ABSENT = 0xffffffffu;
layout(set = 0, binding = MEMBERS, std430) readonly buffer Members { Member members[]; };
