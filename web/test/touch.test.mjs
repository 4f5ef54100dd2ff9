// Fingers instead of a mouse, on a screen of 390 pixels: the report, serve and view.
// Environment: REPORT_FOLDER as for report.test.mjs, PYTHON as for serve.test.mjs.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { excess, launch, skipWithout, watched } from "./browser.mjs";
import { GOLDEN, image, interrupt, ready, run, said } from "./serving.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

let browser;
before(async () => {
  if (!skipWithout()) browser = await launch();
});
after(async () => {
  await browser?.close();
  interrupt();
});

/** A page on a phone, and what its fingers do; points are [x, y] in pixels of the window. */
async function phone(address) {
  const { origin } = new URL(address);
  const isExpected = (url) => /^(file|data|blob):/.test(url) || url.startsWith(origin);
  const isNoise = (text) => /Failed to load resource/.test(text);
  const { page, faults } = await watched(browser, isExpected, { isNoise, ...PHONE });
  await page.goto(address);
  const session = await page.context().newCDPSession(page);
  const send = (type, points) =>
    session.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  /** Fingers go from some points to others in ten steps, and stay there or leave. */
  async function drag(from, to, { stay = false } = {}) {
    await send("touchStart", from);
    for (let step = 1; step <= 10; step++)
      await send("touchMove", from.map(([x, y], finger) => [x + ((to[finger][0] - x) * step) / 10, y + ((to[finger][1] - y) * step) / 10]));
    if (!stay) await send("touchEnd", []);
    await settled(page);
  }
  return { page, faults, drag, send };
}
const settled = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const shoot = (page, name) => process.env.SHOTS && page.screenshot({ path: join(process.env.SHOTS, `touch-${name}.png`) });
const at = async (page, selector, x = 0.5, y = 0.5) => {
  const box = await page.locator(selector).boundingBox();
  return [box.x + box.width * x, box.y + box.height * y];
};
const split = (page) => page.evaluate(() => Number(document.getElementById("v-split").value));
const scale = (page) => page.evaluate(() => Number(document.querySelector("#v-a img").style.transform.match(/scale\((.*)\)/)[1]));
/** Where a point of the window is in the image. */
const under = (page, [x, y]) =>
  page.evaluate(([x, y]) => {
    const box = document.querySelector("#v-a img").getBoundingClientRect();
    return [(x - box.left) / box.width, (y - box.top) / box.height];
  }, [x, y]);
const near = (found, wanted, by) => assert.ok(Math.abs(found - wanted) <= by, `${found} is not ${wanted} ± ${by}`);

/** What fingers do in the viewer, which is open. */
async function compare({ page, drag, send }, name) {
  await settled(page);
  await shoot(page, `${name}-viewer`);
  assert.equal(await excess(page), 0);
  const [left, right] = [await at(page, "#v-split", 0.5), await at(page, "#v-split", 0.9)];
  await drag([left], [right]);
  near(await split(page), 90, 5); // the slider below the image
  const handle = await at(page, "#v-line");
  const stage = await page.locator("#v-stage").boundingBox();
  await drag([handle], [[stage.x + stage.width * 0.25, handle[1] + 30]]);
  near(await split(page), 25, 2); // the line on the image
  await shoot(page, `${name}-line`);

  const fitted = await scale(page), place = await at(page, "#v-stage", 0.6, 0.6);
  const fingers = (far) => [[place[0] - far, place[1]], [place[0] + far, place[1]]];
  const was = await under(page, place);
  await drag(fingers(30), fingers(90));
  near((await scale(page)) / fitted, 3, 0.2);
  const now = await under(page, place);
  near(now[0], was[0], 0.02); // the place between the fingers stays there
  near(now[1], was[1], 0.02);
  await drag([place], [[place[0] - 60, place[1] - 40]]); // one finger pans
  const panned = await under(page, [place[0] - 60, place[1] - 40]);
  near(panned[0], was[0], 0.02);
  assert.equal(await page.evaluate(() => visualViewport.scale), 1); // the page itself does not zoom
  const both = fingers(60);
  await drag(both, both.map(([x, y]) => [x - 50, y - 30])); // two fingers pan, too
  const moved = await under(page, [place[0] - 110, place[1] - 70]);
  near(moved[0], was[0], 0.02);

  const twice = async () => {
    for (let tap = 0; tap < 2; tap++) {
      await send("touchStart", [place]);
      await send("touchEnd", []);
    }
    await settled(page);
  };
  await twice();
  near(await scale(page), fitted, 1e-6); // from any zoom, to the whole image
  await page.waitForTimeout(700); // else these are taps three and four
  await twice();
  near(await scale(page), 0.5, 1e-6); // 1:1 on a screen with two pixels for one
  await page.tap("#v-modes [data-mode=diff]");
  assert.equal(await page.getAttribute("#v-stage", "data-mode"), "diff");
  const centre = await under(page, await at(page, "#v-stage"));
  await page.tap("#v-modes [data-mode=side]");
  await settled(page);
  near((await under(page, await at(page, "#v-stage", 0.25)))[0], centre[0], 0.02);
  await shoot(page, `${name}-side`);
  assert.equal(await excess(page), 0);
  await page.tap("#v-close");
}

test("report: slider, pinch, double tap", { skip: skipWithout("REPORT_FOLDER") }, async () => {
  const found = await phone(pathToFileURL(join(process.env.REPORT_FOLDER, "small/report.html")).href);
  const { page, faults } = found;
  assert.equal(await excess(page), 0);
  await shoot(page, "report");
  await page.locator("tr", { hasText: "a.png" }).locator("a.shot").first().tap();
  await page.waitForFunction(() => document.querySelector("#v-b img").naturalWidth === 400);
  await compare(found, "report");
  assert.deepEqual(faults, []);
});

test("serve: a mask is drawn with a finger, and the result compared", { skip: skipWithout("PYTHON") }, async () => {
  const found = await phone((await run("serve")).address);
  const { page, faults, drag, send } = found;
  await ready(page);
  await page.setInputFiles("#files", [image("a.png")]);
  await said(page, "upload-status", "^1 image\\.");
  await page.selectOption("#operation", "inpaint");
  await shoot(page, "serve");
  await page.tap("fieldset[data-op=inpaint] .draw");
  await page.waitForFunction(() => document.getElementById("m-photo").naturalWidth === 120);
  assert.equal(await excess(page), 0);
  await page.fill("#m-size", "8");
  await drag([await at(page, "#m-canvas", 0.47)], [await at(page, "#m-canvas", 0.53)]);
  await drag([await at(page, "#m-canvas", 0.47, 0.55)], [await at(page, "#m-canvas", 0.53, 0.55)]);
  // A second finger, such as that of a hand that rests on the screen, draws nothing and ends nothing.
  const [finger, palm] = [await at(page, "#m-canvas", 0.3, 0.2), await at(page, "#m-canvas", 0.9, 0.9)];
  await send("touchStart", [finger]);
  await send("touchStart", [finger, palm]);
  await send("touchMove", [finger, [palm[0] - 5, palm[1]]]);
  await send("touchMove", [[finger[0] + 8, finger[1]], palm]);
  await send("touchEnd", []);
  await settled(page);
  await shoot(page, "serve-mask");
  const painted = (x, y) =>
    page.evaluate(([x, y]) => {
      const canvas = document.getElementById("m-canvas");
      return canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3];
    }, [x, y]);
  assert.equal(await painted(0.5, 0.5), 255);
  assert.equal(await painted(0.3, 0.2), 255);
  assert.equal(await painted(0.6, 0.55), 0);
  assert.equal(await painted(0.9, 0.9), 0);
  assert.equal(await page.evaluate(() => scrollY + document.getElementById("mask").scrollTop), 0);
  await page.tap("#m-undo");
  assert.equal(await painted(0.3, 0.2), 0);
  await page.tap("#m-done");
  await page.waitForSelector("fieldset[data-op=inpaint] .drawn:text('1 drawn')");
  await page.tap("#run");
  await said(page, "results", "inpaint: done");
  await page.waitForSelector(".job a.shot >> nth=1");
  assert.equal(await excess(page), 0);
  await page.locator(".job a.shot").first().tap();
  await page.waitForFunction(() => document.querySelector("#v-b img").naturalWidth === 120);
  await compare(found, "serve");
  assert.deepEqual(faults, []);
});

test("view: images are opened and zoomed", { skip: skipWithout("PYTHON") }, async () => {
  const { address } = await run("view", join(GOLDEN, "streams/stored.vae"), join(GOLDEN, "streams/grey.vae"), "--models-dir", GOLDEN);
  const { page, faults, drag } = await phone(address);
  await page.waitForFunction(() => [...document.images].filter((one) => one.closest("#images")).every((one) => one.naturalWidth > 0));
  assert.equal(await excess(page), 0);
  await shoot(page, "view");
  await page.locator("a.shot").first().tap();
  await page.waitForFunction(() => document.querySelector("#v-a img").naturalWidth > 0);
  await settled(page);
  const [fitted, [x, y]] = [await scale(page), await at(page, "#v-stage")];
  await drag([[x, y - 20], [x, y + 20]], [[x, y - 40], [x, y + 40]]);
  near((await scale(page)) / fitted, 2, 0.2);
  await shoot(page, "view-viewer");
  await page.tap("#v-next");
  assert.equal(await page.textContent("#v-count"), "2 of 2");
  assert.deepEqual(faults, []);
});
