// The sources of the page (camera, microphone, file) and its two ways to the server: WebRTC and WebSocket.
"use strict";

const CONNECT_MS = 4000; // WebRTC that is not connected by then is replaced by a WebSocket

// --- Sources ---

const SOURCE_PROBLEMS = {
  NotAllowedError: "The browser blocked the camera or microphone. Allow them for this page (the icon next to the address), then press Start again.",
  NotFoundError: "No camera or microphone was found. Connect one, choose another, or choose a file.",
  NotReadableError: "The camera or microphone is used by another program, or was unplugged. Close the other program, then press Start again.",
  OverconstrainedError: "The chosen camera or microphone is no longer connected. Choose another.",
};

async function listDevices() {
  if (!navigator.mediaDevices) return;
  const found = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  for (const [select, kind] of [[$("camera"), "videoinput"], [$("microphone"), "audioinput"]]) {
    const before = select.value;
    for (const option of [...select.options].slice(2)) option.remove(); // all but Default and None
    for (const device of found.filter((d) => d.kind === kind && d.deviceId && d.deviceId !== "default")) {
      select.add(new Option(device.label || `${select.options.length - 1}`, device.deviceId));
    }
    select.value = [...select.options].some((o) => o.value === before) ? before : "";
  }
}

async function openSource() {
  const file = $("file").files[0];
  if (file) return openFile(file);
  const camera = $("camera").value, microphone = $("microphone").value;
  if (camera === "none" && microphone === "none") throw new Error("Choose a camera, a microphone or a file.");
  if (!navigator.mediaDevices) throw new Error("Browsers allow the camera and microphone only on https:// pages, and on this machine (http://127.0.0.1).");
  const id = (value) => (value ? { deviceId: { exact: value } } : {});
  return navigator.mediaDevices.getUserMedia({
    video: camera !== "none" && { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, ...id(camera) },
    // The processing for calls would remove emotion from the voice.
    audio: microphone !== "none" && { echoCancellation: false, noiseSuppression: false, autoGainControl: false, ...id(microphone) },
  });
}

async function openFile(file) {
  const video = $("video");
  const capture = video.captureStream || video.mozCaptureStream;
  if (!capture) throw new Error("This browser cannot send a file as if it were live. Use Chrome, Edge or Firefox, or run: affectstream score FILE");
  video.srcObject = null;
  video.src = URL.createObjectURL(file);
  video.muted = false;
  video.volume = 0.2;
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error("The browser cannot play this file. Try: affectstream score FILE"));
  });
  const stream = capture.call(video);
  await video.play();
  video.onended = () => stop("The file has ended");
  return stream;
}

function showStream(stream, isFile) {
  const video = $("video");
  if (!isFile) {
    video.srcObject = stream;
    video.muted = true;
    video.play().catch(() => {});
  }
  video.classList.toggle("mirrored", !isFile);
  $("empty").hidden = stream.getVideoTracks().length > 0;
  $("empty").textContent = "Sound only";
  const file = $("file").files[0];
  if (isFile && !video.videoWidth && !file.type.startsWith("audio/")) {
    showNote(`Only the sound of ${file.name} is played. Either it has no pictures, or this browser cannot decode them (often HEVC, which phones record). To analyze the pictures, run: affectstream score FILE`);
  }
  for (const track of stream.getTracks()) {
    track.addEventListener("ended", () => {
      if (!session || isFile) return;
      const device = track.kind === "video" ? "camera" : "microphone";
      const lost = `The ${device} is gone: it was unplugged, or the browser blocked it.`;
      if (stream.getTracks().some((t) => t.readyState === "live")) showProblem(`${lost} The rest continues.`);
      else stop("Stopped", `${lost} Connect it, then press Start again.`);
    });
  }
}

// --- Ways to the server. Each returns {way, send, end, close}; `mine` is the value of `run` at the start. ---

// Returns null if WebRTC does not connect.
async function connectWebRtc(stream, mine) {
  if (!window.RTCPeerConnection) return null; // some browsers switch it off, against tracking
  const pc = new RTCPeerConnection({ iceServers: about.stun.map((urls) => ({ urls })) });
  const channel = pc.createDataChannel("events");
  channel.onmessage = (event) => mine === run && receive(event.data);
  for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise((resolve) => {
    if (pc.iceGatheringState === "complete") resolve();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
    setTimeout(resolve, 2000);
  });
  const answer = await request("offer", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "offer", sdp: pc.localDescription.sdp }),
  });
  const given = await answer.json();
  if (!answer.ok) {
    pc.close();
    throw new Error(given.error);
  }
  await pc.setRemoteDescription({ type: "answer", sdp: withHighBitrate(given.sdp) });
  const connected = await new Promise((resolve) => {
    channel.onopen = () => resolve(true);
    setTimeout(() => resolve(channel.readyState === "open"), CONNECT_MS);
  });
  if (!connected) {
    pc.close();
    const headers = { authorization: `Bearer ${given.secret}` };
    await request(`sessions/${given.session}`, { method: "DELETE", headers }); // frees its place
    return null;
  }
  pc.onconnectionstatechange = () => pc.connectionState === "failed" && stop("Stopped", "The connection to the server was lost.");
  channel.onclose = () => stop("Ended by the server", endReason);
  return {
    way: "WebRTC",
    send: (message) => channel.readyState === "open" && channel.send(JSON.stringify(message)),
    end: () => {
      channel.onclose = () => pc.close(); // once the last event has come
      if (channel.readyState === "open") channel.send('{"type":"end"}');
    },
    close: () => pc.close(),
  };
}

// The browser starts with a low bitrate and, as the server reports only losses, never raises it: 720p would
// arrive as 360p.
function withHighBitrate(sdp) {
  const types = [...sdp.matchAll(/a=rtpmap:(\d+) (?:VP8|H264)\/90000/g)].map((found) => found[1]);
  const wish = "x-google-start-bitrate=2500;x-google-min-bitrate=800";
  for (const type of types) {
    const line = new RegExp(`a=fmtp:${type} ([^\\r\\n]*)`);
    sdp = line.test(sdp) ? sdp.replace(line, `a=fmtp:${type} $1;${wish}`) : sdp.replace(new RegExp(`(a=rtpmap:${type} [^\\r\\n]*\\r\\n)`), `$1a=fmtp:${type} ${wish}\r\n`);
  }
  return sdp;
}

const CLOSE_REASONS = { 1006: SERVER_GONE, 1012: "The server was stopped." }; // for closings without a reason

async function connectWebSocket(stream, mine) {
  const hasVideo = stream.getVideoTracks().length > 0, hasSound = stream.getAudioTracks().length > 0;
  const type = hasVideo ? "video/webm;codecs=vp8,opus" : "audio/webm;codecs=opus";
  if (!window.MediaRecorder || !MediaRecorder.isTypeSupported(type)) throw new Error("WebRTC did not connect (the network blocks UDP to the server), and this browser cannot record WebM.");
  const url = new URL("ingest", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = `?format=webm&modalities=${[hasVideo && "video", hasSound && "voice"].filter(Boolean)}`;
  if (token()) url.searchParams.set("token", token()); // a WebSocket of a browser sends no headers
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("The server refused the connection: it may be full, or stopped."));
  });
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 1500000 });
  recorder.ondataavailable = (event) => {
    // Late media is worthless, and a gap would break the WebM: so the session ends.
    if (socket.bufferedAmount > 4e6) stop("Stopped", "The connection to the server is too slow.");
    else if (socket.readyState === WebSocket.OPEN && event.data.size) socket.send(event.data);
  };
  socket.onmessage = (event) => mine === run && receive(event.data);
  socket.onclose = (event) => session && stop("Ended by the server", endReason || event.reason || CLOSE_REASONS[event.code] || "");
  recorder.start(100);
  return {
    way: "WebSocket",
    send: (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message)),
    end: () => {
      socket.onclose = null;
      recorder.ondataavailable = null;
      if (recorder.state !== "inactive") recorder.stop();
      if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"end"}');
    },
    close: () => socket.close(),
  };
}
