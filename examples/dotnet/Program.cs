// The matte of an image with ONNX Runtime for .NET.
//
//   streammatte models export ppmattingv2-lite --to onnx -o lite.onnx
//   ffmpeg -i in.jpg -vf scale=512:-2 image.ppm
//   dotnet run -- lite.onnx image.ppm matte.pgm
//
// The network takes RGB / 127.5 - 1 as (1, 3, H, W), sides multiples of 32, and gives alpha at half the size.
using System.Text;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

if (args.Length != 3)
{
    Console.Error.WriteLine("usage: matte NETWORK.onnx IMAGE.ppm MATTE.pgm");
    return 2;
}
try
{
    var (width, height, rgb) = ReadPpm(args[1]);
    int columns = Up(width), rows = Up(height);
    var input = new DenseTensor<float>(new[] { 1, 3, rows, columns });
    for (var y = 0; y < rows; y++)
        for (var x = 0; x < columns; x++)
            for (var channel = 0; channel < 3; channel++)
            {
                // The last row and column are repeated beyond the image, as the product pads.
                var place = 3 * (Math.Min(y, height - 1) * width + Math.Min(x, width - 1)) + channel;
                input[0, channel, y, x] = rgb[place] / 127.5f - 1;
            }
    using var session = new InferenceSession(args[0]);
    var given = NamedOnnxValue.CreateFromTensor(session.InputMetadata.Keys.First(), input);
    using var results = session.Run(new[] { given });
    var alpha = results.First().AsTensor<float>();
    int h = alpha.Dimensions[^2], w = alpha.Dimensions[^1];
    var values = alpha.ToArray();
    var matte = new byte[width * height];
    for (var y = 0; y < height; y++)
        for (var x = 0; x < width; x++)
        {
            var value = At(values, w, h, (x + 0.5f) * w / columns - 0.5f, (y + 0.5f) * h / rows - 0.5f);
            matte[y * width + x] = (byte)Math.Round(255 * Math.Clamp(value, 0, 1));
        }
    using var file = File.Create(args[2]);
    file.Write(Encoding.ASCII.GetBytes($"P5\n{width} {height}\n255\n"));
    file.Write(matte);
    return 0;
}
catch (Exception error) when (error is IOException or InvalidDataException or OnnxRuntimeException)
{
    Console.Error.WriteLine($"matte: {error.Message}");
    return 1;
}

static int Up(int side) => (side + 31) / 32 * 32;

// Bilinear between the cells of alpha.
static float At(float[] alpha, int w, int h, float x, float y)
{
    x = Math.Clamp(x, 0, w - 1);
    y = Math.Clamp(y, 0, h - 1);
    int left = (int)x, top = (int)y;
    int right = Math.Min(left + 1, w - 1), bottom = Math.Min(top + 1, h - 1);
    float across = x - left, down = y - top;
    var above = alpha[top * w + left] * (1 - across) + alpha[top * w + right] * across;
    var below = alpha[bottom * w + left] * (1 - across) + alpha[bottom * w + right] * across;
    return above * (1 - down) + below * down;
}

static (int Width, int Height, byte[] Rgb) ReadPpm(string path)
{
    var data = File.ReadAllBytes(path);
    var place = 0;
    string Word()
    {
        while (place < data.Length && (char.IsWhiteSpace((char)data[place]) || data[place] == '#'))
        {
            if (data[place] == '#')
                while (place < data.Length && data[place] != '\n') place++;
            else
                place++;
        }
        var begin = place;
        while (place < data.Length && !char.IsWhiteSpace((char)data[place])) place++;
        return Encoding.ASCII.GetString(data, begin, place - begin);
    }
    if (Word() != "P6" || !int.TryParse(Word(), out var width) || !int.TryParse(Word(), out var height) || Word() != "255")
        throw new InvalidDataException($"{path} is no binary PPM of 8 bits a channel");
    place++;
    if (width is < 1 or > 4096 || height is < 1 or > 4096 || data.Length - place < 3 * width * height)
        throw new InvalidDataException($"{path} ends too early, or is larger than 4096x4096");
    return (width, height, data[place..(place + 3 * width * height)]);
}
