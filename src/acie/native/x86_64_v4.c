/* AVX-512. */
#include "kernels.h"

#ifdef GENERATIONS
#pragma GCC target("arch=x86-64-v4")
#define KERNELS kernels_v4
#include "kernels.c"
#endif
