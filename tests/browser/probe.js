// What a reader would see of the page: returned as plain data, judged in main.rs. `width` is the width of the reader's screen.
(width) => {
  const problems = [];
  const complain = (what, text) => problems.push(`${what}: ${String(text).trim().slice(0, 60)}`);

  // Colours, as relative luminance and contrast of WCAG 2.
  const colour = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const over = (front, back, alpha) => [0, 1, 2].map((i) => front[i] * alpha + back[i] * (1 - alpha));
  const alpha = (rgba) => (rgba.length > 3 ? rgba[3] : 1);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const here = colour(getComputedStyle(at).backgroundColor);
      if (alpha(here) === 1) return here.slice(0, 3);
      if (alpha(here) > 0) return over(here, at.parentElement ? background(at.parentElement) : [255, 255, 255], alpha(here));
    }
    return [255, 255, 255];
  };
  const judge = (style, element, text) => {
    const size = parseFloat(style.fontSize);
    if (size < 12) complain(`font of ${size}px`, text);
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= parseFloat(getComputedStyle(at).opacity);
    const ink = colour(element instanceof SVGElement ? style.fill : style.color);
    const back = background(element);
    const ratio = contrast(over(ink, back, alpha(ink) * opacity), back);
    if (ratio < 4.5) complain(`contrast of ${ratio.toFixed(2)}`, text);
  };

  // Every text that is there, and where it is.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent;
    if (!text.trim() || ['title', 'style', 'script'].includes(element.localName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter((rect) => rect.width > 0 && rect.height > 0);
    const style = getComputedStyle(element);
    if (!rects.length || style.visibility !== 'visible') continue;
    texts.push({ text, element, rects });
    judge(style, element, text);
    for (const rect of rects) {
      if (rect.left < -0.5 || rect.right > width + 0.5) complain('outside of the screen', text);
      for (let at = element; at && at !== document.body; at = at.parentElement) {
        const box = at.getBoundingClientRect();
        const clips = getComputedStyle(at).overflowX !== 'visible' && !(at instanceof SVGElement);
        if (clips && (rect.left < box.left - 0.5 || rect.right > box.right + 0.5)) complain('cut off', text);
      }
    }
  }
  for (const element of document.querySelectorAll('body *')) {
    const style = getComputedStyle(element, '::before');
    if (style.content !== 'none' && style.display !== 'none' && element.getClientRects().length) {
      judge(style, element, `::before of ${element.textContent}`);
    }
  }

  // No text lies on another.
  const places = texts.flatMap(({ text, element, rects }) => rects.map((rect) => ({ text, element, rect })));
  places.sort((a, b) => a.rect.top - b.rect.top);
  places.forEach((one, index) => {
    for (const other of places.slice(index + 1)) {
      if (other.rect.top > one.rect.bottom) break;
      const wide = Math.min(one.rect.right, other.rect.right) - Math.max(one.rect.left, other.rect.left);
      const high = Math.min(one.rect.bottom, other.rect.bottom) - Math.max(one.rect.top, other.rect.top);
      if (wide > 1.5 && high > 4 && one.text !== other.text) complain('one text lies on another', `${one.text.trim().slice(0, 25)} | ${other.text}`);
    }
  });

  // The picture of the timeline, and what is drawn in it.
  const picture = document.querySelector('figure.timeline > svg');
  const frame = picture?.getBoundingClientRect();
  let shapes = 0;
  if (picture) {
    // A mark at the very edge may stand half outside.
    const room = 7;
    for (const shape of picture.querySelectorAll('text, rect.bar, rect.track, path')) {
      if (getComputedStyle(shape).display === 'none') continue;
      const box = shape.getBoundingClientRect();
      shapes += 1;
      const inside = box.left >= frame.left - room && box.right <= frame.right + room && box.top >= frame.top - 0.5 && box.bottom <= frame.bottom + 0.5;
      if (!inside) complain('outside of the picture', `${shape.localName}.${shape.classList} ${shape.textContent}`);
      if (shape.matches('rect.bar') && box.width < 1) complain('a bar that cannot be seen', shape.parentElement.textContent);
    }
  }
  const page = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  if (page > width) complain(`the page is ${page}px wide on a screen of ${width}px`, '');
  return {
    problems: [...new Set(problems)],
    texts: texts.map(({ text }) => text.trim()),
    picture: frame && { width: frame.width, height: frame.height },
    shapes,
    bars: picture ? picture.querySelectorAll('rect.bar').length : 0,
    background: background(document.body),
  };
}
