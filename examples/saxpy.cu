// y = a * x + y, in a new array: one thread per element.

__global__ void saxpy(const float* __restrict__ x, const float* __restrict__ y, float* __restrict__ out, float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = a * x[i] + y[i];
    }
}
