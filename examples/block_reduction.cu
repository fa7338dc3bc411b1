// The sum of an array: each block adds up its share in shared memory, a second launch adds up the blocks.

constexpr int kThreads = 256;

__global__ void block_sum(const float* __restrict__ in, float* __restrict__ partial, int n) {
    __shared__ float shared[kThreads];
    float sum = 0.0f;
    for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) {
        sum += in[i];
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            shared[threadIdx.x] += shared[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = shared[0];
    }
}
