/* A photo averaged down on the GPU that decoded it, so that a part of its bytes comes back in place of all.
   from: [height][pitch] bytes, RGB; to: [down][across][3], each value the rounded mean of scale x scale values, fewer
   at the right and lower edge: what Pillow's Image.reduce gives. One thread a pixel of `to`. */
#ifdef __cplusplus
extern "C"
#endif
__global__ void average(const unsigned char *from, long long pitch, int width, int height, int scale,
                        unsigned char *to, int across, int down) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= across || y >= down) return;
    int right = (x + 1) * scale < width ? (x + 1) * scale : width;
    int bottom = (y + 1) * scale < height ? (y + 1) * scale : height;
    unsigned int red = 0, green = 0, blue = 0, count = (right - x * scale) * (bottom - y * scale);
    for (int row = y * scale; row < bottom; row++)
        for (int column = x * scale; column < right; column++) {
            const unsigned char *pixel = from + row * pitch + 3 * column;
            red += pixel[0];
            green += pixel[1];
            blue += pixel[2];
        }
    unsigned char *mean = to + 3 * ((long long)y * across + x);
    mean[0] = (red + count / 2) / count;
    mean[1] = (green + count / 2) / count;
    mean[2] = (blue + count / 2) / count;
}
