/* For every processor. */
#define KERNELS kernels_any
#include "kernels.c"
