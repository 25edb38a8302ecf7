package org.streammatte.example

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import android.Manifest
import android.graphics.Bitmap
import android.graphics.Color
import android.graphics.Matrix
import android.os.Bundle
import android.widget.ImageView
import android.widget.Toast
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import java.nio.FloatBuffer
import java.util.concurrent.Executors

/** The front camera's image before a colour. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var view: ImageView
    private lateinit var network: Network

    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) openCamera() else Toast.makeText(this, "The camera was not allowed", Toast.LENGTH_LONG).show()
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        view = ImageView(this)
        setContentView(view)
        network = Network(assets.open("network.onnx").use { it.readBytes() })
        permission.launch(Manifest.permission.CAMERA)
    }

    override fun onDestroy() {
        super.onDestroy()
        worker.execute { network.close() } // after the frame that is under way
        worker.shutdown()
    }

    private fun openCamera() {
        val opening = ProcessCameraProvider.getInstance(this)
        opening.addListener({
            val analysis = ImageAnalysis.Builder()
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST) // late frames are dropped, not queued
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .build()
            analysis.setAnalyzer(worker) { frame -> frame.use { show(upright(it)) } }
            val provider = opening.get()
            provider.unbindAll()
            provider.bindToLifecycle(this, CameraSelector.DEFAULT_FRONT_CAMERA, analysis)
        }, ContextCompat.getMainExecutor(this))
    }

    private fun upright(frame: ImageProxy): Bitmap {
        val image = frame.toBitmap()
        val turn = Matrix().apply {
            postRotate(frame.imageInfo.rotationDegrees.toFloat())
            postScale(-1f, 1f) // as a mirror
        }
        return Bitmap.createBitmap(image, 0, 0, image.width, image.height, turn, true)
    }

    private fun show(image: Bitmap) {
        val composite = network.before(image, Color.rgb(28, 107, 74))
        runOnUiThread { view.setImageBitmap(composite) }
    }
}

/** The embedded network, exported at [SIDE] x [SIDE]; alpha comes at half of it. */
class Network(model: ByteArray) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession = environment.createSession(model, OrtSession.SessionOptions())
    private val pixels = IntArray(SIDE * SIDE)
    private val planes = FloatArray(3 * SIDE * SIDE)

    fun before(image: Bitmap, colour: Int): Bitmap {
        val alpha = matte(image)
        val half = SIDE / 2
        val mask = Bitmap.createBitmap(half, half, Bitmap.Config.ARGB_8888)
        mask.setPixels(
            IntArray(half * half) { Color.argb((255 * alpha[it].coerceIn(0f, 1f)).toInt(), 255, 255, 255) },
            0, half, 0, 0, half, half,
        )
        val large = Bitmap.createScaledBitmap(mask, image.width, image.height, true)
        val count = image.width * image.height
        val shown = IntArray(count).also { image.getPixels(it, 0, image.width, 0, 0, image.width, image.height) }
        val shares = IntArray(count).also { large.getPixels(it, 0, image.width, 0, 0, image.width, image.height) }
        for (i in 0 until count) {
            val share = Color.alpha(shares[i])
            fun mix(front: Int, back: Int) = (front * share + back * (255 - share)) / 255
            shown[i] = Color.rgb(
                mix(Color.red(shown[i]), Color.red(colour)),
                mix(Color.green(shown[i]), Color.green(colour)),
                mix(Color.blue(shown[i]), Color.blue(colour)),
            )
        }
        return Bitmap.createBitmap(shown, image.width, image.height, Bitmap.Config.ARGB_8888)
    }

    private fun matte(image: Bitmap): FloatArray {
        val count = SIDE * SIDE
        Bitmap.createScaledBitmap(image, SIDE, SIDE, true).getPixels(pixels, 0, SIDE, 0, 0, SIDE, SIDE)
        for (i in 0 until count) {
            planes[i] = Color.red(pixels[i]) / 127.5f - 1f
            planes[i + count] = Color.green(pixels[i]) / 127.5f - 1f
            planes[i + 2 * count] = Color.blue(pixels[i]) / 127.5f - 1f
        }
        val shape = longArrayOf(1, 3, SIDE.toLong(), SIDE.toLong())
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(planes), shape).use { input ->
            session.run(mapOf(session.inputNames.first() to input)).use { results ->
                val buffer = (results.get(0) as OnnxTensor).floatBuffer
                return FloatArray(buffer.remaining()).also { buffer.get(it) }
            }
        }
    }

    override fun close() = session.close()

    private companion object {
        const val SIDE = 256
    }
}
