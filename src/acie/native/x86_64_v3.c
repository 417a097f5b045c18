/* AVX2 and fused multiplication: x86 since 2013. */
#include "kernels.h"

#ifdef GENERATIONS
#pragma GCC target("arch=x86-64-v3")
#define KERNELS kernels_v3
#include "kernels.c"
#endif
