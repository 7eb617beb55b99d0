// The shape of a dashboard file, from Grafana's own types. An enumeration is its values, as in JSON.
import type { Dashboard, FieldConfig, FieldConfigSource, GraphFieldConfig, Panel, TableFieldOptions } from '@grafana/schema'
import type { FieldConfig as TimelineField, Options as Timeline } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen'
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen'
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen'
import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen'
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus'

type Json<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Each)[] ? Json<Each>[]
  : { [Name in keyof T]: Json<T[Name]> }
type Partly<T> = T extends object ? { [Name in keyof T]?: Partly<T[Name]> } : T
type Query = Json<Omit<Dataquery, '_implementsDataqueryVariant'>>
type PanelOf<Type, Options, Custom> = Json<Omit<Panel, 'type' | 'options' | 'targets' | 'fieldConfig'>> & {
  type: Type
  options: Partly<Json<Options>>
  targets: Query[]
  fieldConfig: { defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: Partly<Json<Custom>> }; overrides: Json<FieldConfigSource['overrides']> }
}

export type StatPanel = PanelOf<'stat', Stat, {}>
export type TablePanel = PanelOf<'table', Table, TableFieldOptions>
export type TimeseriesPanel = PanelOf<'timeseries', TimeSeries, GraphFieldConfig>
export type StateTimelinePanel = PanelOf<'state-timeline', Timeline, TimelineField>
export type Board = Json<Omit<Dashboard, 'panels'>>
