// Draws one dashboard with Grafana's own components (PanelChrome, TimeSeries, BigValue) in Grafana's dark theme.
// `window.board` is the dashboard's JSON, `window.answers` what Prometheus said to each query of each panel.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { applyFieldOverrides, createTheme, dateTime, FieldType, ThemeContext, toDataFrame } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import plotStyle from 'uplot/dist/uPlot.min.css';

const WIDTH = 1600, CELL = 30, GAP = 8, COLUMN = WIDTH / 24, HEADER = 40;
const theme = createTheme({ colors: { mode: 'dark' } });
const range = { from: dateTime(window.since * 1000), to: dateTime(window.until * 1000) };
const timeRange = { ...range, raw: range };

function framesOf(panel) {
  const frames = window.answers[panel.id].map((series) =>
    toDataFrame({
      name: series.legend,
      fields: [
        { name: 'Time', type: FieldType.time, values: series.points.map((p) => p[0] * 1000), config: {} },
        {
          name: series.legend,
          type: FieldType.number,
          values: series.points.map((p) => p[1]),
          config: {
            ...panel.fieldConfig.defaults,
            displayName: series.legend,
            color: { mode: panel.type === 'stat' ? 'thresholds' : 'palette-classic' },
          },
        },
      ],
    })
  );
  frames.forEach((frame, i) => { frame.fields[1].state = { seriesIndex: i }; });
  return applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults: {}, overrides: [] },
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  }).map((frame, i) => {
    frame.fields[1].state = { ...frame.fields[1].state, seriesIndex: i };
    frame.fields[1].config.custom = { drawStyle: 'line', lineWidth: 1, fillOpacity: 0, showPoints: 'never', spanNulls: false,
      axisPlacement: 'auto', thresholdsStyle: { mode: 'off' } };
    return frame;
  });
}

function Panel({ panel }) {
  const width = panel.gridPos.w * COLUMN - GAP, height = panel.gridPos.h * CELL - GAP;
  const frames = framesOf(panel);
  return (
    <div style={{ position: 'absolute', left: panel.gridPos.x * COLUMN + GAP / 2, top: panel.gridPos.y * CELL + GAP / 2 }}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(innerWidth, innerHeight) => {
          if (!frames.length) {
            return <div style={{ textAlign: 'center', paddingTop: innerHeight / 2 - 20, opacity: 0.7 }}>No data</div>;
          }
          if (panel.type === 'stat') {
            return (
              <div style={{ display: 'flex' }}>
                {frames.map((frame, i) => {
                  const field = frame.fields[1];
                  const value = field.display(field.values[field.values.length - 1]);
                  return (
                    <BigValue key={i} theme={theme} width={innerWidth / frames.length} height={innerHeight}
                      value={{ ...value, title: frames.length > 1 ? frame.name : undefined }}
                      colorMode="value" graphMode="none" justifyMode="auto" textMode="auto" />
                  );
                })}
              </div>
            );
          }
          return (
            <TimeSeries frames={frames} timeRange={timeRange} timeZone="utc" width={innerWidth} height={innerHeight}
              legend={{ showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] }} options={{}} />
          );
        }}
      </PanelChrome>
    </div>
  );
}

function Board() {
  const last = Math.max(...window.board.panels.map((p) => p.gridPos.y + p.gridPos.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <style>{plotStyle}</style>
      <div style={{ height: HEADER, padding: '10px 8px', fontSize: 18 }}>{window.board.title}
        <span style={{ float: 'right', fontSize: 13, opacity: 0.7 }}>{window.caption}</span></div>
      <div style={{ position: 'relative', width: WIDTH, height: last * CELL }}>
        {window.board.panels.map((panel, i) =>
          panel.type === 'row' ? (
            <div key={i} style={{ position: 'absolute', top: panel.gridPos.y * CELL + 6, left: 8, fontWeight: 500 }}>
              {panel.title}
            </div>
          ) : (
            <Panel key={i} panel={panel} />
          )
        )}
      </div>
    </ThemeContext.Provider>
  );
}

document.body.style.cssText = `margin:0;width:${WIDTH}px;background:${theme.colors.background.canvas}`;
createRoot(document.getElementById('board')).render(<Board />);
